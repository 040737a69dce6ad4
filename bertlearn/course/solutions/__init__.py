"""The one answer to each exercise, a module a chapter, as a teacher would write it on the board."""
