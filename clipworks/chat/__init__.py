"""Asking chat models: requests, a journal of what was answered, and the engines."""
