"""What plugins import, and all that they may: hooks, components, protocols, and the types that these exchange."""
