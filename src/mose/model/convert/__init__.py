"""Convert foreign encoders to our model folders. Only these modules know foreign tensor names."""
