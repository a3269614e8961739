"""LEE: an embedding of equation and data that is refined until formula and data agree."""
