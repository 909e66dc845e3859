"""Pictures and self-contained pages of clouds, scenes and boxes."""
