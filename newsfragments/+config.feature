One YAML file configures it, in the object model of F5 Distributed Cloud or in ten lines of a short form; ``voltgw check`` shows
every error at once with its place, a caret and what was probably meant.
