"""The pages of the documentation, walked through as their reader would."""
