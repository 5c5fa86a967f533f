"""User regexes in linear time: RE2's syntax, a proof that backtracking is harmless, an automaton where it is not."""
