-- Jobs by the time of their last change: which ones ended long ago.
CREATE INDEX jobs_by_update ON jobs (updated, job, state, draft);

-- Packs by job: what a job has stored, and what goes when it is forgotten.
CREATE INDEX packs_by_job ON packs (job);
