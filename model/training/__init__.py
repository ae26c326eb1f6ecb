"""Training of MedSAM2 variants: phantoms, clips, prompts, losses and the loop, on arrays alone."""
