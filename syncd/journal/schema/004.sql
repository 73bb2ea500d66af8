-- Which process works on a draft: while it lives, the draft is not abandoned, though the daemon was started anew.
ALTER TABLE drafts ADD COLUMN holder TEXT NOT NULL DEFAULT '';
