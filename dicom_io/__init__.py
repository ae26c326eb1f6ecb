"""Everything DICOM: network, headers, volumes, segmentations; knows nothing of jobs, torch or configuration files."""
