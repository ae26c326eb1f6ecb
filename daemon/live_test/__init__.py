"""`medsam2d send-test`: a phantom through the live installation, marked as a test, and what became of it."""
