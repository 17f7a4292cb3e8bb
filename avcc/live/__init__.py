"""Coding while somebody still talks: what neither end has is the rest of the clip."""
