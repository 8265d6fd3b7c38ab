"""Small trained networks and tables that metrics ask."""
