"""Annotations: what people and other systems drew on images (SR, GSPS, RTSTRUCT, SEG), in patient millimetres and on volumes."""
