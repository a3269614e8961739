"""A report of a results folder: as a page, for a pull request, for a paper."""
