"""GenSR: a generative latent space of equations, searched by a degenerate CMA-ES."""
