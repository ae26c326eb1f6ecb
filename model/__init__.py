"""MedSAM2: arrays in, masks out; knows nothing of DICOM, jobs or configuration."""
