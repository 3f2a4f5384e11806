-- Which MiBs of a quarantined blob are damaged: a JSON list of numbers; NULL while none is known to be.
ALTER TABLE blob ADD COLUMN damaged TEXT;
