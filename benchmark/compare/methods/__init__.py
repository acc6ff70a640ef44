"""What lipbound is compared with: methods of others, in our words or from their packages."""
