"""The slow path: who is a member and how it fares. It meets the data plane only in installed endpoint sets."""
