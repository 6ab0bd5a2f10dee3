import { DecimalPipe, PercentPipe } from '@angular/common';
import { Component, input } from '@angular/core';

import { Label } from './router-client';

/** Labels with their scores: an ordered list, each with a bar as long as its score. */
@Component({
  selector: 'app-label-bars',
  imports: [DecimalPipe, PercentPipe],
  template: `
    <ol>
      @for (label of labels(); track label[0]) {
        <li>
          <span class="name">{{ label[1].replaceAll('_', ' ') }}</span>
          <span class="score">{{ label[2] | percent: '1.1-1' }}</span>
          <span
            class="bar"
            role="meter"
            aria-valuemin="0"
            aria-valuemax="1"
            [attr.aria-valuenow]="label[2]"
            [attr.aria-label]="label[1].replaceAll('_', ' ')"
            [title]="label[0] + ', score ' + (label[2] | number: '1.6-6')"
            [style.--share]="label[2]"
          ></span>
        </li>
      }
    </ol>
  `,
  styles: `
    ol {
      list-style: none;
      margin: 0;
      padding: 0;
      display: grid;
      gap: 0.9rem;
    }
    li {
      display: grid;
      grid-template-columns: 1fr auto;
      gap: 0.15rem 1rem;
    }
    li:first-child .name {
      font-weight: 600;
    }
    .score {
      color: var(--quiet);
      font-variant-numeric: tabular-nums;
    }
    .bar {
      grid-column: 1 / -1;
      height: 0.5rem;
      border-radius: 0.25rem;
      background: var(--line);
      overflow: hidden;
    }
    .bar::before {
      content: '';
      display: block;
      width: calc(var(--share) * 100%);
      height: 100%;
      background: var(--accent);
    }
  `,
})
export class LabelBars {
  readonly labels = input.required<readonly Label[]>();
}
