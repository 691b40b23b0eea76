"""What a study leaves: tables with a schema, a record of the run, and packs of both that can travel."""
