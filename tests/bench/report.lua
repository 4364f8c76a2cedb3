-- What wrk measured, as JSON; times in milliseconds.
done = function(summary, latency)
  local errors = summary.errors.connect + summary.errors.read + summary.errors.write
  errors = errors + summary.errors.status + summary.errors.timeout
  io.write(string.format('\n{"p50": %f, "p99": %f, "requests": %d, "seconds": %f, "errors": %d}\n',
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, summary.requests, summary.duration / 1e6, errors))
end
