import {
  HttpClient,
  HttpEvent,
  HttpEventType,
  HttpResponse,
  HttpUploadProgressEvent,
} from '@angular/common/http';
import { Injectable, inject } from '@angular/core';
import { Observable, filter, map } from 'rxjs';

import { ROUTER_URL } from './router-url';

/** One model, as `GET /models/` lists it (the keys that this page needs). */
export interface Model {
  readonly name: string;
  readonly route: string;
  readonly state: string;
}

/** WordNet id, name and score: one row of Keras' `decode_predictions`. */
export type Label = readonly [wnid: string, name: string, score: number];

/** How a prediction goes on: first some `sending`, then one `answered`. */
export type Prediction =
  | { readonly kind: 'sending'; readonly share: number }
  | { readonly kind: 'answered'; readonly labels: readonly Label[]; readonly version: string | null };

type Answering = HttpUploadProgressEvent | HttpResponse<readonly Label[]>;

/** The router's HTTP API, typed. */
@Injectable({ providedIn: 'root' })
export class RouterClient {
  private readonly http = inject(HttpClient);
  private readonly url = inject(ROUTER_URL);

  models(): Observable<readonly Model[]> {
    return this.http.get<readonly Model[]>(`${this.url}/models/`);
  }

  /** Ask `model` what the picture shows; `b64` is the image file in base64. */
  predict(model: string, b64: string): Observable<Prediction> {
    return this.http
      .post<readonly Label[]>(
        `${this.url}/${encodeURIComponent(model)}/predict/`,
        { b64 },
        { observe: 'events', reportProgress: true },
      )
      .pipe(filter(isOfInterest), map(asPrediction));
  }
}

function isOfInterest(event: HttpEvent<readonly Label[]>): event is Answering {
  return event.type === HttpEventType.UploadProgress || event.type === HttpEventType.Response;
}

function asPrediction(event: Answering): Prediction {
  if (event.type === HttpEventType.UploadProgress) {
    return { kind: 'sending', share: event.loaded / (event.total ?? event.loaded) };
  }
  return {
    kind: 'answered',
    labels: event.body ?? [],
    version: event.headers.get('X-Model-Version'),
  };
}
