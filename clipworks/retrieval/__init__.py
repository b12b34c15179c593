"""Text-to-image retrieval: the solution of a traffic-image contest, in solutions/retrieval."""
