"""Where characters come from: NIST's files, matplotlib's fonts, and their seeded splits."""
