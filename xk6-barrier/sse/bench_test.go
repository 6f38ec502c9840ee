package sse

const benchServerEnv = "K6_SSE_BENCH_SERVER"

func runBenchServer() {}
