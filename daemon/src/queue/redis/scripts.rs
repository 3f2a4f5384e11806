//! What happens inside Redis in one step: each script leaves either all of its changes or none.
//!
//! A job that was handed to Redis is an entry of a stream and a hash:
//!
//! - stream `nebula:jobs:KIND:BAND`: what the worker needs; an entry stays until its job is settled.
//! - hash `nebula:job:ID`: `token` (of this hand-out), `stream`, `entry`, `attempt`, `lease` (of the running attempt), `worker`, `progress`, `stage`, `cancel`.
//! - stream `nebula:done`: reports for the daemon: `started`, `done`, `failed`, `released`.
//! - stream `nebula:wake`: one entry, renewed with each hand-out; workers block on it.
//!
//! An entry whose token is not that of the hash is a leftover and is dropped by whoever meets it.
//! Nothing grows without bound: the daemon hands out a bounded number of jobs, and each leaves a bounded number of reports.

use std::sync::LazyLock;

use redis::Script;

/// Hands a job out. Keys: hash, stream, wake. Arguments: group, job, token, kind, payload, priority, attempts_max, attempt, seconds to live.
pub(super) static DISPATCH: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
if redis.call('HGET', KEYS[1], 'token') == ARGV[3] then return 0 end
redis.pcall('XGROUP', 'CREATE', KEYS[2], ARGV[1], '0', 'MKSTREAM')
local entry = redis.call('XADD', KEYS[2], '*', 'job', ARGV[2], 'token', ARGV[3], 'kind', ARGV[4], 'payload', ARGV[5],
  'priority', ARGV[6], 'attempts_max', ARGV[7])
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'token', ARGV[3], 'stream', KEYS[2], 'entry', entry, 'attempt', ARGV[8])
redis.call('EXPIRE', KEYS[1], ARGV[9])
redis.call('XADD', KEYS[3], 'MAXLEN', '1', '*', 'job', ARGV[2])
return 1",
    )
});

/// Leases the first job. Keys: reports, then the job streams in the order to look. Arguments: group, consumer, idle ms, lease, worker, prefix of the hashes.
pub(super) static LEASE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local group, consumer = ARGV[1], ARGV[2]
local function drop(stream, id)
  redis.call('XACK', stream, group, id)
  redis.call('XDEL', stream, id)
end
local function take(stream, entry)
  local id, flat, job = entry[1], entry[2], {}
  for i = 1, #flat, 2 do job[flat[i]] = flat[i + 1] end
  if not job.job then drop(stream, id) return nil end
  local hash = ARGV[6] .. job.job
  local state = redis.call('HMGET', hash, 'token', 'cancel')
  if state[1] ~= job.token then drop(stream, id) return nil end
  local attempt = redis.call('HINCRBY', hash, 'attempt', 1)
  local spent = attempt > tonumber(job.attempts_max)
  if state[2] or spent then
    drop(stream, id)
    redis.call('XADD', KEYS[1], '*', 'what', 'failed', 'job', job.job, 'token', job.token, 'attempt', attempt - 1, 'worker', ARGV[5],
      'body', spent and 'its worker vanished on the last attempt' or 'cancelled', 'retryable', spent and '1' or '0')
    return nil
  end
  redis.call('HSET', hash, 'lease', ARGV[4], 'worker', ARGV[5])
  redis.call('HDEL', hash, 'progress', 'stage')
  redis.call('XADD', KEYS[1], '*', 'what', 'started', 'job', job.job, 'token', job.token, 'attempt', attempt, 'worker', ARGV[5],
    'body', '', 'retryable', '0')
  return {stream, id, job.job, job.kind, job.payload, job.token, tostring(attempt), job.attempts_max, job.priority}
end
for s = 2, #KEYS do
  local stream = KEYS[s]
  for _ = 1, 256 do
    local entry, cursor = nil, '0-0'
    repeat
      local claimed = redis.pcall('XAUTOCLAIM', stream, group, consumer, ARGV[3], cursor, 'COUNT', '1')
      if claimed.err then cursor = nil break end
      cursor, entry = claimed[1], claimed[2][1]
    until entry or cursor == '0-0'
    if not cursor then break end
    if not entry then
      local read = redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', '1', 'STREAMS', stream, '>')
      entry = read and read[1][2][1]
    end
    if not entry then break end
    local lease = take(stream, entry)
    if lease then return lease end
  end
end
return false",
    )
});

/// Keeps a lease alive. Keys: hash, stream. Arguments: group, consumer, entry, lease, progress, stage, seconds to live.
pub(super) static BEAT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local state = redis.call('HMGET', KEYS[1], 'lease', 'cancel')
if state[1] ~= ARGV[4] then return 'lost' end
if #redis.call('XCLAIM', KEYS[2], ARGV[1], ARGV[2], '0', ARGV[3], 'JUSTID') == 0 then return 'lost' end
redis.call('HSET', KEYS[1], 'progress', ARGV[5], 'stage', ARGV[6])
redis.call('EXPIRE', KEYS[1], ARGV[7])
return state[2] and 'cancelled' or 'continue'",
    )
});

/// Settles an attempt once. Keys: hash, stream, reports. Arguments: group, entry, lease, what, job, token, attempt, worker, body, retryable.
pub(super) static SETTLE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
if redis.call('HGET', KEYS[1], 'lease') ~= ARGV[3] then return 0 end
redis.call('HDEL', KEYS[1], 'lease')
redis.call('XADD', KEYS[3], '*', 'what', ARGV[4], 'job', ARGV[5], 'token', ARGV[6], 'attempt', ARGV[7], 'worker', ARGV[8],
  'body', ARGV[9], 'retryable', ARGV[10])
redis.call('XACK', KEYS[2], ARGV[1], ARGV[2])
redis.call('XDEL', KEYS[2], ARGV[2])
return 1",
    )
});

/// Takes a hand-out back. Keys: hash. Arguments: group, token.
pub(super) static FORGET: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local state = redis.call('HMGET', KEYS[1], 'token', 'stream', 'entry')
if state[1] ~= ARGV[2] then return 0 end
redis.pcall('XACK', state[2], ARGV[1], state[3])
redis.pcall('XDEL', state[2], state[3])
return redis.call('DEL', KEYS[1])",
    )
});

/// Asks a running attempt to end. Keys: hash. Arguments: token.
pub(super) static CANCEL: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then return 0 end
return redis.call('HSET', KEYS[1], 'cancel', '1')",
    )
});
