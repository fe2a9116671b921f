"""From the records of an evaluation to tables, figures and a page, and the audit of a report."""
