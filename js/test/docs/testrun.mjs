/** What a manifest of k6-operator may hold: the fields of its TestRun, API version k6.io/v1alpha1, as of version 1. */

const ANY = () => [];
const text = (value, at) => (typeof value === 'string' ? [] : [`${at} must be a string`]);
const whole = (value, at) => (Number.isInteger(value) && value >= 1 ? [] : [`${at} must be a whole number of at least 1`]);
const truth = (value, at) => (typeof value === 'boolean' ? [] : [`${at} must be true or false`]);
const quantity = (value, at) => (/^\d+(\.\d+)?(m|[KMGT]i?)?$/.test(String(value)) ? [] : [`${at} is no quantity`]);
const oneOf = (...allowed) => (value, at) => (allowed.includes(value) ? [] : [`${at} must be one of ${allowed.join(', ')}`]);
const list = (item) => (value, at) =>
  Array.isArray(value) ? value.flatMap((each, index) => item(each, `${at}[${index}]`)) : [`${at} must be a list`];
const map = (item) => (value, at) => Object.entries(value).flatMap(([key, each]) => item(each, `${at}.${key}`));
const fields =
  (known, ...required) =>
  (value, at) => {
    if (value === null || typeof value !== 'object' || Array.isArray(value)) {
      return [`${at} must have fields`];
    }
    return [
      ...required.filter((name) => !(name in value)).map((name) => `${at}.${name} is missing`),
      ...Object.entries(value).flatMap(([name, each]) =>
        Object.hasOwn(known, name) ? known[name](each, `${at}.${name}`) : [`${at}.${name} does not exist`],
      ),
    ];
  };

const keyOf = fields({ name: text, key: text, optional: truth }, 'name', 'key');
const env = fields(
  {
    name: text,
    value: text,
    valueFrom: fields({ secretKeyRef: keyOf, configMapKeyRef: keyOf, fieldRef: ANY, resourceFieldRef: ANY }),
  },
  'name',
);
const resources = fields({ requests: map(quantity), limits: map(quantity), claims: ANY });

const pod = fields({
  disabled: truth,
  affinity: ANY,
  automountServiceAccountToken: text,
  env: list(env),
  image: text,
  imagePullSecrets: ANY,
  imagePullPolicy: oneOf('Always', 'IfNotPresent', 'Never'),
  metadata: fields({ annotations: map(text), labels: map(text) }),
  nodeSelector: map(text),
  tolerations: ANY,
  topologySpreadConstraints: ANY,
  resources,
  serviceAccountName: text,
  securityContext: ANY,
  containerSecurityContext: ANY,
  envFrom: ANY,
  readinessProbe: ANY,
  livenessProbe: ANY,
  initContainers: ANY,
  volumes: ANY,
  volumeMounts: ANY,
  priorityClassName: text,
  schedulerName: text,
});

const spec = fields(
  {
    script: fields({
      volumeClaim: fields({ name: text, file: text, readOnly: truth }, 'name'),
      configMap: fields({ name: text, file: text }, 'name'),
      localFile: text,
    }),
    parallelism: whole,
    separate: truth,
    arguments: text,
    ports: ANY,
    initializer: pod,
    starter: pod,
    runner: pod,
    quiet: text,
    paused: text,
    scuttle: ANY,
    cleanup: oneOf('post'),
    cloud: fields({ token: text, testRunId: text, stream: truth }),
    testRunId: text,
    token: text,
  },
  'script',
  'parallelism',
);

const testRun = fields(
  {
    apiVersion: oneOf('k6.io/v1alpha1'),
    kind: oneOf('TestRun'),
    metadata: fields({ name: text, namespace: text, labels: map(text), annotations: map(text) }, 'name'),
    spec,
  },
  'apiVersion',
  'kind',
  'metadata',
  'spec',
);

/** What is wrong with a manifest of kind TestRun. */
export const wrongIn = (manifest) => testRun(manifest, 'TestRun');
