"""What is pending, finding its plan, and running it."""
