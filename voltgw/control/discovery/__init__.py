"""Ways to find endpoints: one file each, each with a `FACTORY` that builds a feed for one endpoint object."""
