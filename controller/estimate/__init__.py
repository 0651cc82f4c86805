"""What the readings say of demand and capacity. Pure."""
