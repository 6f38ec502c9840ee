// RATE requests a second to a small server, for SECONDS: as many samples as k6's output `hdrlog` has to take in. When the load
// stands, the tool takes a profile of the process.
import exec from 'k6/execution';
import http from 'k6/http';

const RATE = Number(__ENV.RATE);
const SECONDS = Number(__ENV.SECONDS);
/** When the load stands, s. */
const STANDS = Number(__ENV.STANDS);

export const options = {
  scenarios: {
    requests: {
      executor: 'constant-arrival-rate',
      rate: RATE,
      duration: `${SECONDS}s`,
      preAllocatedVUs: Math.ceil(RATE / 25),
    },
  },
  discardResponseBodies: true,
};

export default function () {
  http.get(__ENV.BASE_URL);
  if (exec.scenario.iterationInTest === RATE * STANDS) {
    console.log('the load stands');
  }
}

export function handleSummary({ metrics }) {
  const failed = metrics.http_req_failed.values.passes; // of this rate, a request that failed is a pass
  return { [__ENV.RESULT]: JSON.stringify({ requests: metrics.http_reqs.values.count, failed }) };
}
