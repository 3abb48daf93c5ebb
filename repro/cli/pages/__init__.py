"""Commands about result pages."""
