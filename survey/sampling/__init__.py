"""What is drawn: reach, designs, rounds."""
