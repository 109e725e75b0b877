"""Foreign encoders to our model folders. The only room that knows their tensor names."""
