# shellcheck shell=bash
# The settings of the wrappers in the root: .env.test there, as far as the environment says nothing else. Lines as barrier-bench's --env-file
# takes them: NAME=VALUE, perhaps quoted; an empty value counts as not given, and so does a line that begins with #.
settings() {
  local line name value
  [[ -f .env.test ]] || return 0
  while IFS= read -r line || [[ -n $line ]]; do
    [[ $line =~ ^[[:space:]]*(export[[:space:]]+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)$ ]] || continue
    name=${BASH_REMATCH[2]} value=${BASH_REMATCH[3]}
    value=${value%"${value##*[![:space:]]}"}
    if [[ $value =~ ^\"(.*)\"$ || $value =~ ^\'(.*)\'$ ]]; then value=${BASH_REMATCH[1]}; fi
    [[ -z $value || -n ${!name-} ]] || export "$name=$value"
  done <.env.test
}

# Which service the wrappers look at, where nobody says it: the one that a person has started.
service() {
  export BASE_URL=${BASE_URL:-http://localhost:4000}
}
