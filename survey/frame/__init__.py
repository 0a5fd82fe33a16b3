"""What can be drawn: streets, points, alleys, compounds, toilets."""
