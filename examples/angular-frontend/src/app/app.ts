import { Component, OnDestroy, inject, signal } from '@angular/core';
import { Subscription, from, switchMap } from 'rxjs';

import { LabelBars } from './label-bars';
import { asBase64 } from './photo';
import { asSentence } from './problem';
import { Label, Model, Prediction, RouterClient } from './router-client';
import { ROUTER_URL } from './router-url';

/** The page: choose a model and a photo, see its labels. */
@Component({
  selector: 'app-root',
  imports: [LabelBars],
  templateUrl: './app.html',
  styleUrl: './app.css',
})
export class App implements OnDestroy {
  protected readonly origin = location.origin;
  protected readonly routerUrl = inject(ROUTER_URL);
  protected readonly models = signal<readonly Model[]>([]);
  protected readonly chosen = signal('');
  protected readonly photoUrl = signal<string | null>(null);
  protected readonly sent = signal<number | null>(null); // share of the upload, while a call is under way
  protected readonly labels = signal<readonly Label[]>([]);
  protected readonly version = signal<string | null>(null);
  protected readonly failure = signal<string | null>(null);

  private readonly router = inject(RouterClient);
  private readonly listing = this.router.models().subscribe({
    next: (models) => this.offer(models),
    error: (error: unknown) => this.failure.set(asSentence(error)),
  });
  private photo: Blob | null = null;
  private call: Subscription | null = null;

  ngOnDestroy(): void {
    this.listing.unsubscribe();
    this.call?.unsubscribe();
  }

  protected chooseModel(event: Event): void {
    this.chosen.set((event.target as HTMLSelectElement).value);
    this.ask();
  }

  protected choosePhoto(event: Event): void {
    const chooser = event.target as HTMLInputElement;
    this.take(chooser.files);
    chooser.value = ''; // so that the same file can be chosen again
  }

  protected dropPhoto(event: DragEvent): void {
    event.preventDefault();
    this.take(event.dataTransfer?.files ?? null);
  }

  private offer(models: readonly Model[]): void {
    this.models.set(models);
    const ready = models.find((model) => model.state === 'AVAILABLE');
    this.chosen.set((ready ?? models[0])?.name ?? '');
  }

  private take(files: FileList | null): void {
    const photo = files?.item(0);
    if (!photo) return;
    URL.revokeObjectURL(this.photoUrl() ?? '');
    this.photoUrl.set(URL.createObjectURL(photo));
    this.photo = photo;
    this.ask();
  }

  private ask(): void {
    if (!this.photo || !this.chosen()) return;
    const model = this.chosen();
    this.start();
    this.call = from(asBase64(this.photo))
      .pipe(switchMap((b64) => this.router.predict(model, b64)))
      .subscribe({
        next: (prediction) => this.show(prediction),
        error: (error: unknown) => this.fail(error),
      });
  }

  private start(): void {
    this.call?.unsubscribe(); // an answer to an earlier photo is of no use any more
    this.labels.set([]);
    this.failure.set(null);
    this.sent.set(0);
  }

  private show(prediction: Prediction): void {
    if (prediction.kind === 'sending') {
      this.sent.set(prediction.share);
      return;
    }
    this.sent.set(null);
    this.labels.set(prediction.labels);
    this.version.set(prediction.version);
  }

  private fail(error: unknown): void {
    this.sent.set(null);
    this.failure.set(asSentence(error));
  }
}
