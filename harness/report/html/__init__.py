"""``report.html``: one file that needs nothing else. Pictures are worked out here, templates only lay them out."""
