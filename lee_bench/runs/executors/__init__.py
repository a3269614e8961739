"""Ways to work through a plan. A cell is independent and repeatable, so any engine will do."""
