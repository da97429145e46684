-- Why an attempt failed stands in its own row only. A dead letter had the reasons of all attempts before it in its error, and
-- each attempt those of all before it in prior_errors: of a hundred attempts every reason was stored a hundred times.
UPDATE executions SET error = SUBSTR(error, 1, LENGTH(error) - LENGTH(prior_errors) - 11)
WHERE status = 'dead_letter' AND prior_errors <> ''
  AND SUBSTR(error, LENGTH(error) - LENGTH(prior_errors) - 10) = ' (before: ' || prior_errors || ')';
ALTER TABLE executions DROP COLUMN prior_errors;
