"""How fast the whole is, against what it could be and what one would write instead; docs/performance.md tells more."""
