"""clipworks: multi-label taggers from class names alone, rebuilt from leaderboard solutions on CLIP."""
