/** Uses what k6/x/sse exports, so that the type checker sees it as its users do. It is never run. */
import sse, { asyncOpen, openAsync, type ErrorCode, type PollClient, type SSEError, type SSEEvent } from 'k6/x/sse';

const client: PollClient = sse.openAsync('http://localhost', { method: 'POST', body: 5, maxRetries: 3, baseDelay: '1s', maxDelay: 5000 });
const events: SSEEvent[] = client.pollEvents();
const done: SSEEvent = client.waitForEvent((event) => event.name === 'done', '5s');
const first: Promise<SSEEvent> = client.waitForEventAsync();
const error: SSEError | null = client.getError();
export const refusal: string | undefined = error?.body ?? sse.open('http://localhost', () => {}).body;
const code: ErrorCode | undefined = error?.code;
const number: number | undefined = error?.errorCode;
client.close();
// @ts-expect-error a setup function is what asyncOpen takes
openAsync('http://localhost', {}, () => {});
export const result = asyncOpen('http://localhost', (opened) => opened.on('error', (failure) => console.log(failure.option)));

export class Mine extends sse.EventSource {
  override close(): void {
    super.close();
  }
}
console.log(events, done, first, code, number, client.isOpen(), client.getStatus());
