"""What Detent is made of; ARCHITECTURE.md says where each part stands."""
