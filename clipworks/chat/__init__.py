"""Talking to chat models: requests, engines behind one interface, and the journal of replies."""
