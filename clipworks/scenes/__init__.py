"""Zero-shot scene classification: prompts by the hundred, sharpened pictures, several CLIPs."""
