"""From a class list and images to tags that can be trusted."""
