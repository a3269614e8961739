"""The symbolic core that LEE and GenSR share: tokens, programs, constants, canonical forms."""
